package jwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/auth"
	"github.com/upshift-go/upshift/middleware/auth/jwt"
)

func newVerifier(t *testing.T, o jwt.Options) *jwt.Verifier {
	t.Helper()
	v, err := jwt.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each algorithm verifies what is signed with it and its key, and nothing else.
func TestAlgorithms(t *testing.T) {
	keys := map[string]struct{ private, public any }{
		"HS256": {secret, secret}, "HS384": {secret, secret}, "HS512": {secret, secret},
		"RS256": {rsaKey(), &rsaKey().PublicKey}, "RS384": {rsaKey(), &rsaKey().PublicKey}, "RS512": {rsaKey(), &rsaKey().PublicKey},
		"PS256": {rsaKey(), &rsaKey().PublicKey}, "PS384": {rsaKey(), &rsaKey().PublicKey}, "PS512": {rsaKey(), &rsaKey().PublicKey},
		"ES256": {p256Key(), &p256Key().PublicKey}, "ES384": {p384Key(), &p384Key().PublicKey}, "ES512": {p521Key(), &p521Key().PublicKey},
		"EdDSA": {edKey(), edKey().Public()},
	}
	for name, key := range keys {
		v := newVerifier(t, jwt.Options{Algorithms: []string{name}, Key: key.public})
		for other, otherKey := range keys {
			token := sign(t, other, "", otherKey.private, map[string]any{"sub": "ann"})
			id, err := v.Verify(t.Context(), token)
			switch {
			case other == name && (err != nil || id.Subject != "ann"):
				t.Errorf("%s: %q, %v", name, id.Subject, err)
			case other != name && !errors.Is(err, auth.ErrInvalid):
				t.Errorf("%s takes %s: %v", name, other, err)
			}
		}
	}
}

// The tricks with tokens that there are.
func TestForged(t *testing.T) {
	claims := map[string]any{"sub": "ann"}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs256 := func(key []byte) string {
		unsigned := strings.TrimSuffix(raw(t, map[string]any{"alg": "HS256", "typ": "JWT"}, claims, nil), ".")
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(unsigned))
		return raw(t, map[string]any{"alg": "HS256", "typ": "JWT"}, claims, mac.Sum(nil))
	}
	good := sign(t, "RS256", "", rsaKey(), claims)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	v := newVerifier(t, jwt.Options{Algorithms: []string{"RS256"}, Key: &rsaKey().PublicKey})
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"none":                      raw(t, map[string]any{"alg": "none"}, claims, nil),
		"None":                      raw(t, map[string]any{"alg": "None"}, claims, nil),
		"none with a signature":     raw(t, map[string]any{"alg": "none"}, claims, []byte("x")),
		"no algorithm":              raw(t, map[string]any{"typ": "JWT"}, claims, []byte("x")),
		"algorithm is a list":       raw(t, map[string]any{"alg": []string{"RS256"}}, claims, []byte("x")),
		"unknown algorithm":         raw(t, map[string]any{"alg": "XX1"}, claims, []byte("x")),
		"public key (PEM) as HMAC":  hs256(public),
		"public key (DER) as HMAC":  hs256(der),
		"modulus as HMAC":           hs256(rsaKey().N.Bytes()),
		"own key in the header":     raw(t, map[string]any{"alg": "RS256", "jwk": jwk("", &rsaKey().PublicKey)}, claims, []byte("x")),
		"other key":                 sign(t, "RS256", "", weakKey(), claims),
		"other claims":              head + "." + strings.Split(raw(t, nil, map[string]any{"sub": "bob"}, nil), ".")[1] + "." + signature,
		"no signature":              head + "." + body + ".",
		"two parts":                 head + "." + body,
		"four parts":                good + ".x",
		"JWE":                       "a.b.c.d.e",
		"empty":                     "",
		"dots":                      "..",
		"no base64":                 "!." + body + "." + signature,
		"padded":                    head + "=." + body + "." + signature,
		"standard base64 signature": head + "." + body + "." + signature[:len(signature)-1] + "+",
		"null header":               "bnVsbA." + body + "." + signature,
		"list for claims":           head + ".W10." + signature,
		"critical extension":        critical(t, claims),
		"blanks":                    " " + good,
		"spare bits":                head + "." + body + "." + signature[:len(signature)-1] + string(signature[len(signature)-1]+1),
	} {
		if id, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

// critical is well signed, and asks for what nobody here knows.
func critical(t *testing.T, claims map[string]any) string {
	t.Helper()
	header := map[string]any{"alg": "RS256", "crit": []string{"b64"}, "b64": false}
	unsigned := strings.TrimSuffix(raw(t, header, claims, nil), ".")
	digest := sha256.Sum256([]byte(unsigned))
	signature, err := rsaKey().Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return raw(t, header, claims, signature)
}

func TestClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		at := func(d time.Duration) int64 { return now.Add(d).Unix() }
		base := jwt.Options{Algorithms: []string{"HS256"}, Key: secret}
		strict := jwt.Options{
			Algorithms: []string{"HS256"}, Key: secret, Issuer: "id", Audience: []string{"chat", "mail"},
			RequireExpiry: true, Leeway: 10 * time.Second,
		}
		type claims = map[string]any
		full := func(more claims) claims {
			c := claims{"sub": "ann", "iss": "id", "aud": "chat", "exp": at(time.Minute)}
			for k, v := range more {
				if c[k] = v; v == nil {
					delete(c, k)
				}
			}
			return c
		}
		for name, test := range map[string]struct {
			o      jwt.Options
			claims claims
			want   error
		}{
			"nothing":                  {base, claims{}, nil},
			"expired":                  {base, claims{"exp": at(0)}, auth.ErrExpired},
			"expires":                  {base, claims{"exp": at(time.Second)}, nil},
			"expired in 1970":          {base, claims{"exp": 0}, auth.ErrExpired},
			"expires as text":          {base, claims{"exp": "never"}, auth.ErrInvalid},
			"not yet":                  {base, claims{"nbf": at(time.Second)}, auth.ErrNotYetValid},
			"now":                      {base, claims{"nbf": at(0)}, nil},
			"issued later":             {base, claims{"iat": at(time.Second)}, auth.ErrNotYetValid},
			"subject is a number":      {base, claims{"sub": 7}, auth.ErrInvalid},
			"all":                      {strict, full(nil), nil},
			"second audience":          {strict, full(claims{"aud": []string{"other", "mail"}}), nil},
			"other audience":           {strict, full(claims{"aud": []string{"other"}}), auth.ErrInvalid},
			"no audience":              {strict, full(claims{"aud": nil}), auth.ErrInvalid},
			"other issuer":             {strict, full(claims{"iss": "evil"}), auth.ErrInvalid},
			"no issuer":                {strict, full(claims{"iss": nil}), auth.ErrInvalid},
			"no expiry":                {strict, full(claims{"exp": nil}), auth.ErrInvalid},
			"expired with leeway":      {strict, full(claims{"exp": at(-9 * time.Second)}), nil},
			"expired beyond":           {strict, full(claims{"exp": at(-10 * time.Second)}), auth.ErrExpired},
			"expired of other issuer":  {strict, full(claims{"exp": at(-time.Hour), "iss": "evil"}), auth.ErrInvalid},
			"not yet with leeway":      {strict, full(claims{"nbf": at(10 * time.Second)}), nil},
			"not yet beyond":           {strict, full(claims{"nbf": at(11 * time.Second)}), auth.ErrNotYetValid},
			"issued later with leeway": {strict, full(claims{"iat": at(10 * time.Second)}), nil},
		} {
			v := newVerifier(t, test.o)
			_, err := v.Verify(t.Context(), sign(t, "HS256", "", secret, test.claims))
			if test.want == nil && err != nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// What the standard claims say is the identity.
func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		o := jwt.Options{Algorithms: []string{"HS256"}, Key: secret, Leeway: time.Minute}
		claims := map[string]any{
			"sub": "ann", "iat": float64(now.Unix()) + 0.25, "exp": now.Add(time.Hour).Unix(),
			"roles": []any{"admin", 7, "editor"}, "scope": "read  write",
		}
		token := sign(t, "HS256", "", secret, claims)
		id, err := newVerifier(t, o).Verify(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := id.Claims.(map[string]any)
		if id.Subject != "ann" || !id.Issued.Equal(time.Unix(now.Unix(), 250e6)) || !id.Expires.Equal(now.Add(time.Hour+time.Minute)) ||
			!reflect.DeepEqual(id.Roles, []string{"admin", "editor"}) || !reflect.DeepEqual(id.Scopes, []string{"read", "write"}) ||
			all["scope"] != "read  write" {
			t.Errorf("identity %+v", id)
		}
		id, err = newVerifier(t, o).Verify(t.Context(), sign(t, "HS256", "", secret, map[string]any{"scp": []any{"a"}, "roles": 7}))
		if err != nil || !reflect.DeepEqual(id.Scopes, []string{"a"}) || id.Roles != nil || !id.Issued.IsZero() || !id.Expires.IsZero() {
			t.Errorf("identity %+v, %v", id, err)
		}

		type account struct {
			Subject string `json:"sub"`
			Scope   string `json:"scope"`
		}
		o.Identity = func(_ context.Context, id auth.Identity, payload []byte) (auth.Identity, error) {
			var a account
			err := json.Unmarshal(payload, &a)
			id.Claims = a
			return id, err
		}
		id, err = newVerifier(t, o).Verify(t.Context(), token)
		if err != nil || id.Claims != (account{"ann", "read  write"}) || id.Subject != "ann" {
			t.Errorf("identity %+v, %v", id, err)
		}
		o.Identity = func(context.Context, auth.Identity, []byte) (auth.Identity, error) {
			return auth.Identity{}, core.Errorf("banned", "go away")
		}
		if _, err = newVerifier(t, o).Verify(t.Context(), token); err == nil || err.Error() != "banned: go away" {
			t.Errorf("error %v", err)
		}
	})
}

// A secret is long enough for one algorithm, and not for another.
func TestShortSecret(t *testing.T) {
	short := secret[:32]
	v := newVerifier(t, jwt.Options{Algorithms: []string{"HS256", "HS512"}, Key: short})
	if _, err := v.Verify(t.Context(), sign(t, "HS256", "", short, nil)); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), sign(t, "HS512", "", short, nil)); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}

// Keys by their ids, of which one can be on its way out.
func TestKeys(t *testing.T) {
	v := newVerifier(t, jwt.Options{Algorithms: []string{"EdDSA", "ES256"}, Keys: map[string]any{
		"new": edKey().Public(), "old": otherKey().Public(), "ec": &p256Key().PublicKey,
	}})
	for _, test := range []struct {
		algorithm, kid string
		key            any
		ok             bool
	}{
		{"EdDSA", "new", edKey(), true},
		{"EdDSA", "old", otherKey(), true},
		{"ES256", "ec", p256Key(), true},
		{"EdDSA", "new", otherKey(), false},
		{"EdDSA", "ec", edKey(), false},
		{"EdDSA", "other", edKey(), false},
		{"EdDSA", "", edKey(), false},
	} {
		_, err := v.Verify(t.Context(), sign(t, test.algorithm, test.kid, test.key, map[string]any{"sub": "ann"}))
		if test.ok != (err == nil) || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s with %q: %v", test.algorithm, test.kid, err)
		}
	}
}

func TestOptions(t *testing.T) {
	hs, es := []string{"HS256"}, []string{"ES256"}
	keys := made(jwt.NewKeySet("https://id.example/keys", jwt.KeySetOptions{}))
	defer keys.Close()
	for want, o := range map[string]jwt.Options{
		"Algorithms is empty":    {Key: secret},
		`"none" is not one`:      {Key: secret, Algorithms: []string{"none"}},
		`"" is not one`:          {Key: secret, Algorithms: []string{""}},
		`"hs256" is not one`:     {Key: secret, Algorithms: []string{"hs256"}},
		"mixes":                  {Key: secret, Algorithms: []string{"HS256", "RS256"}},
		"one of Key, Keys":       {Algorithms: hs},
		"needs one of Key, Keys": {Algorithms: hs, Key: secret, Keys: map[string]any{}},
		"shorter than the 32":    {Algorithms: hs, Key: secret[:31]},
		"PEM":                    {Algorithms: hs, Key: bytes.Join([][]byte{[]byte("-----BEGIN PUBLIC KEY-----"), secret}, nil)},
		"no key for HS256":       {Algorithms: hs, Key: string(secret)},
		"less than 2048 bits":    {Algorithms: []string{"RS256"}, Key: &weakKey().PublicKey},
		"*ecdsa.PublicKey is no": {Algorithms: es, Key: &p384Key().PublicKey},
		"*ecdsa.PrivateKey is":   {Algorithms: es, Key: p256Key()},
		`("second")`:             {Algorithms: es, Keys: map[string]any{"second": edKey().Public()}},
		"has public keys":        {Algorithms: hs, KeySet: keys},
		"Leeway is negative":     {Algorithms: hs, Key: secret, Leeway: -1},
	} {
		if _, err := jwt.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// No token makes the verifier panic or say anything but that it is not valid.
func FuzzVerify(f *testing.F) {
	v := made(jwt.New(jwt.Options{Algorithms: []string{"HS256"}, Key: secret}))
	f.Add("")
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJIUzI1NiIsImNyaXQiOltdfQ.eyJleHAiOjFlMzAwfQ.AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%q: %+v, %v", token, id, err)
		}
	})
}
