"""Which rule decides about an instance, and what a rule's values mean."""
