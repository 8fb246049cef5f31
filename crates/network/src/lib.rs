//! Container networks: bridge driver, addresses, firewall, published ports.
