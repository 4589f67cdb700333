"""The values that travel between rooms, and the only places where pixels and bytes change form. Everyone may import it."""
