"""What a search hands over besides its report: a chosen law, a file, code in other languages, a figure."""
