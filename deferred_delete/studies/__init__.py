"""Whole studies: deleted in the background, and restored while their files wait."""
