// Package snippet has the names that the pages of docs/ take for granted.
package snippet

import (
	"context"
	"errors"
	"iter"
	"net/http"

	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/client"
	"github.com/upshift-go/upshift/core"
)

type (
	Message  struct{ Room, Text string }
	Order    struct{ ID, Item string }
	Receipt  struct{ ID string }
	Question struct{ Text string }
	Answer   struct{ Yes bool }
	User     struct{ Name string }
	Price    struct{ Pair string }
)

var (
	srv     *core.Server
	adapter core.Adapter
	ns      *core.Namespace
	chat    *core.Namespace
	s       *core.Socket
	next    core.Handler
	c       *client.Socket

	ctx   context.Context
	id    string
	item  string
	token string
	x, y  int
	user  *User
	v     any
	order Order
	price Price

	mux        *http.ServeMux
	httpServer *http.Server
	site       *fasthttp.Server
)

type tenantKey struct{}

var errBanned = errors.New("banned")

func authenticate(next core.Handler) core.Handler { return next }

func adminsOnly(next core.Handler) core.Handler { return next }

// eventsAfter yields what came after the event of a number.
func eventsAfter(ctx context.Context, seen int64) iter.Seq2[int64, string] { return nil }

func save(ctx context.Context, o Order) error { return nil }
