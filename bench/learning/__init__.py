"""The proofs behind docs/learning.md: what learning beyond one log brings, on shifts between real logs."""
