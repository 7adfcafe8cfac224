"""Where models come from: local files, Hugging Face repositories, package indexes, short names."""
