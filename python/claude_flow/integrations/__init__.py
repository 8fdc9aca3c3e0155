"""What other tools run or read of this package."""
