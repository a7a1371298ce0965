"""Distribution shifts: natural image sets and synthetic corruptions."""
