"""Plugins in environments of their own: built aside, checked, switched in one step, kept for a way back."""
