"""Scripts of tables that no awfe ever had: schema 0, and the way from it to schema 1 and back."""
