"""What a law is: its parts, how it is simplified, recorded and judged."""
