package jwt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/upshift-go/upshift/middleware/auth"
)

// Options say which tokens are valid. Algorithms, and one of Key, Keys and
// KeySet, are needed.
type Options struct {
	// Algorithms are those that tokens may be signed with: HS256, HS384,
	// HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512,
	// EdDSA. Those with a shared secret (HS) and those with a public key
	// cannot be mixed.
	Algorithms []string

	// Key verifies all tokens: a []byte that is shared with the issuer, at
	// least as long as the hash (32, 48 or 64 bytes), or an *rsa.PublicKey of
	// 2,048 bits or more, an *ecdsa.PublicKey, an ed25519.PublicKey.
	Key any
	// Keys are the same by the token's key id ("kid"), for keys that change.
	Keys map[string]any
	// KeySet has keys that the issuer publishes.
	KeySet *KeySet

	// Issuer is what "iss" must be. Default: anything.
	Issuer string
	// Audience is what "aud" must have one of. Default: anything.
	Audience []string
	// RequireExpiry refuses tokens that are valid for ever, without "exp".
	RequireExpiry bool
	// Leeway is by how much clocks may differ: tokens are valid for that much
	// longer than they say, and that much earlier. Default 0.
	Leeway time.Duration

	// Identity makes what handlers find of a token that is valid. id has what
	// the standard claims say, see Verifier.Verify; payload is the JSON of all
	// claims. An error refuses the token, see auth.Options.Verify. Default: id.
	Identity func(ctx context.Context, id auth.Identity, payload []byte) (auth.Identity, error)
}

// A Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	options Options
	parser  *jwt.Parser
}

// New makes a Verifier. The error says what is wrong with the options.
func New(o Options) (*Verifier, error) {
	if o.Leeway < 0 {
		return nil, errors.New("jwt: Options.Leeway is negative")
	}
	if err := checkAlgorithms(o.Algorithms); err != nil {
		return nil, err
	}
	if err := checkKeys(&o); err != nil {
		return nil, err
	}
	parser := []jwt.ParserOption{
		jwt.WithValidMethods(o.Algorithms), jwt.WithLeeway(o.Leeway), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
	}
	if o.Issuer != "" {
		parser = append(parser, jwt.WithIssuer(o.Issuer))
	}
	if len(o.Audience) > 0 {
		parser = append(parser, jwt.WithAudience(o.Audience...))
	}
	if o.RequireExpiry {
		parser = append(parser, jwt.WithExpirationRequired())
	}
	return &Verifier{options: o, parser: jwt.NewParser(parser...)}, nil
}

// Verify is auth.Options.Verify. Of the claims "sub" becomes the Subject, "iat"
// Issued (with its fraction, if it has one), "exp" with the leeway Expires,
// "roles" the Roles, "scope" or "scp" the Scopes; both are lists, or strings with
// spaces. All of them are Claims, as a map[string]any.
//
// The error wraps one of package auth's: ErrExpired, ErrNotYetValid, ErrInvalid,
// or ErrUnavailable if the KeySet has no keys because they cannot be fetched. It
// waits for a KeySet's keys until ctx ends.
func (v *Verifier) Verify(ctx context.Context, token string) (auth.Identity, error) {
	claims := make(jwt.MapClaims)
	parsed, err := v.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return v.key(ctx, t) })
	if err != nil {
		return auth.Identity{}, reason(err)
	}
	id, err := v.identity(claims)
	if err != nil || v.options.Identity == nil {
		return id, err
	}
	payload, err := v.parser.DecodeSegment(strings.Split(parsed.Raw, ".")[1])
	if err != nil {
		return auth.Identity{}, reason(err) // it was decoded before, so it cannot fail
	}
	return v.options.Identity(ctx, id, payload)
}

// reason puts an error of the library into the words of package auth.
func reason(err error) error {
	why := auth.ErrInvalid
	switch {
	case errors.Is(err, auth.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		why = auth.ErrUnavailable
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience):
		// It is not for us, whenever.
	case errors.Is(err, jwt.ErrTokenExpired):
		why = auth.ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		why = auth.ErrNotYetValid
	}
	return fmt.Errorf("%w: %w", why, err)
}

// identity is what the standard claims say. The library has checked those that
// it knows.
func (v *Verifier) identity(claims jwt.MapClaims) (auth.Identity, error) {
	id := auth.Identity{Claims: map[string]any(claims)}
	var err error
	if id.Subject, err = claims.GetSubject(); err != nil {
		return auth.Identity{}, reason(err)
	}
	if _, there := claims["exp"]; there {
		exp, err := claims.GetExpirationTime()
		if err != nil || exp == nil { // the library takes 0 for none
			return auth.Identity{}, fmt.Errorf("%w: %q", auth.ErrExpired, "exp")
		}
		id.Expires = exp.Add(v.options.Leeway)
	}
	if iat, ok := claims["iat"].(float64); ok {
		seconds, fraction := math.Modf(iat)
		id.Issued = time.Unix(int64(seconds), int64(fraction*1e9))
	}
	id.Roles = words(claims["roles"])
	if id.Scopes = words(claims["scope"]); id.Scopes == nil {
		id.Scopes = words(claims["scp"])
	}
	return id, nil
}

// words is a claim that is a list of strings, or one with spaces.
func words(claim any) []string {
	switch claim := claim.(type) {
	case string:
		return strings.Fields(claim)
	case []any:
		list := make([]string, 0, len(claim))
		for _, element := range claim {
			if word, ok := element.(string); ok {
				list = append(list, word)
			}
		}
		return slices.Clip(list)
	}
	return nil
}
