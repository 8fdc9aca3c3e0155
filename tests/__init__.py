"""What the tests share is imported from here: ``from tests.transcript import Transcript``."""
