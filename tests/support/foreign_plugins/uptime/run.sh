#!/bin/sh
# One request a line in, one answer a line out; the end of the input ends it.
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/^{"id":"\([A-Za-z0-9-]*\)".*/\1/p')
  case $line in
    *'"type":"probe"'*) printf '{"id":"%s","ok":true,"result":{"name":"uptime","version":"0.1.0","capabilities":["host.uptime"]}}\n' "$id" ;;
    *'"capability":"host.uptime"'*) printf '{"id":"%s","ok":true,"result":{"seconds":%s}}\n' "$id" "$(cut -d. -f1 /proc/uptime)" ;;
    '') ;;
    *) printf '{"id":"%s","ok":false,"error":{"code":"unsupported_capability","message":"not mine"}}\n' "$id" ;;
  esac
done
