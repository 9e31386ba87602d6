"""The methods with which a script is written: each makes a step."""
