"""Small trained parts inside a frozen network: parameter-efficient transfer."""
