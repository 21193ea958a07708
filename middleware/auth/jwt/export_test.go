package jwt

// ParseKeySet reads a key set.
var ParseKeySet = parseKeySet

// Key returns the key of a publishedKey.
func (k publishedKey) Key() any { return k.key }
