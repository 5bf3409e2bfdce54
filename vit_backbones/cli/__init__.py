"""What the command lines in tools/ do; they only parse, call these modules, and print."""
