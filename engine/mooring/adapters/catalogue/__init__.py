"""Where the fleet's volumes are listed: Volume objects, a directory, or memory."""
