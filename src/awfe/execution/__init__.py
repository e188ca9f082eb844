"""Running workflows on asyncio."""
