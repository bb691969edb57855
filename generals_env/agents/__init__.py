"""Networks that play with numpy alone, and the agents that the package ships."""
