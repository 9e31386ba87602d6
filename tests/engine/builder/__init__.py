"""Tests of the methods that scripts are written with."""
