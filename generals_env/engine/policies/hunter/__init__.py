"""The hunter: an opponent that opens, gathers, defends and looks for the general of the enemy."""
