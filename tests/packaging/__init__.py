"""The tests of what is given to users: the distributions, what an import costs, the plugin for pytest."""
