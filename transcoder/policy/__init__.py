"""Decides by the configured rules what is done with an instance, and checks the values of the rules."""
