//! Faces for other people's tools: the Docker Engine API over build and container.
