"""Where credentials come from. An activity fetches what it uses; they are never an argument or a result."""
