"""The contract: what each option, each failure and each way of leaving does, the same in every surrounding."""
