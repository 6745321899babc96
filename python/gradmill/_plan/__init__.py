"""What a transformation does, as data: descriptions, links, masks, controls, scalars."""
