"""ftllm on other people's engines of scale: many replicas behind one address."""
