"""The HTTP door: operators and programs submit and follow jobs here. One table maps errors to problem documents."""
