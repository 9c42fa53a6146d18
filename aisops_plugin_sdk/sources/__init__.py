"""Where authors' tools get a plugin from: an installed one, a folder, a commit of it, a wheel, a manifest file."""
