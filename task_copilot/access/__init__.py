"""Who may reach the hub: addresses, tokens, tickets, limits of bodies and rates."""
