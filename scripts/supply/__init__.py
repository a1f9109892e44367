"""What is installed beside fclf, under which licences and hashes: `make hashes`, `make licences`, `make sbom`."""
