"""The commands of `aisops-plugin`, one a file. Only click is imported before a command runs."""
