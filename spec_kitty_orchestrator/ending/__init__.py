"""The end of a mission: accept it, merge it, and say what a user can do next."""
