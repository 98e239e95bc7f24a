"""What the containers of docker-compose.yml need besides the services: their secrets, and a check of the whole."""
