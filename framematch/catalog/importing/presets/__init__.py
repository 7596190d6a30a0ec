"""How shops name the columns of their exports, and what their rows mean."""
