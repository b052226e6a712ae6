"""A model's page on the Hugging Face Hub: what goes there, the card, the upload."""
