// Package jwt verifies JSON Web Tokens for package auth, on
// github.com/golang-jwt/jwt/v5:
//
//	keys, err := jwt.NewKeySet("https://id.example/.well-known/jwks.json", jwt.KeySetOptions{})
//	tokens, err := jwt.New(jwt.Options{
//		Algorithms: []string{"RS256"},
//		KeySet:     keys,
//		Issuer:     "https://id.example",
//		Audience:   []string{"chat"},
//	})
//	guard, err := auth.New(srv, auth.Options{Verify: tokens.Verify})
//
// The algorithms are named by the program, never by the token, and each key is
// used with those only that it is for: there is no "none", and a public key is
// never taken for a shared secret.
//
// A KeySet reads its keys with github.com/MicahParks/jwkset and keeps them by
// itself. The client of that library reads answers of any length, refuses a set
// for the sake of one key that it cannot read, makes those who ask for an unknown
// key queue for a fetch of their own, and has a goroutine for each set.
package jwt
