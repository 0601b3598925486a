"""What was found: the answer, its certificates, gradient checks of a study."""
