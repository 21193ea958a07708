// Package routers mounts the same Server on six routers and frameworks: a page
// to copy from, and the test that all of them carry sessions through an
// upgrade. It is a module of its own so that none of them is a dependency of
// Upshift.
package routers

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gofiber/fiber/v3"
	"github.com/labstack/echo/v4"
	"github.com/valyala/fasthttp"

	"github.com/upshift-go/upshift/core"
)

// NetHTTP mounts srv on the router of the standard library.
func NetHTTP(srv *core.Server) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	return mux
}

// Chi mounts srv on chi. Handle, unlike Mount, leaves the path whole, which
// srv compares with its Options.Path.
func Chi(srv *core.Server) http.Handler {
	r := chi.NewRouter()
	r.Handle("/socket.io/*", srv)
	r.Get("/hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) })
	return r
}

// Gin mounts srv on gin.
func Gin(srv *core.Server) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.Use(gin.Recovery())
	e.Any("/socket.io/*rest", gin.WrapH(srv))
	e.GET("/hello", func(c *gin.Context) { c.String(http.StatusOK, "hello") })
	return e
}

// Echo mounts srv on Echo.
func Echo(srv *core.Server) http.Handler {
	e := echo.New()
	e.Any("/socket.io/*", echo.WrapHandler(srv))
	e.GET("/hello", func(c echo.Context) error { return c.String(http.StatusOK, "hello") })
	return e
}

// Fiber mounts srv on Fiber, which runs on fasthttp: no adaptor is needed.
func Fiber(srv *core.Server) *fiber.App {
	app := fiber.New()
	app.All("/socket.io/*", func(c fiber.Ctx) error {
		srv.ServeFastHTTP(c.RequestCtx())
		return nil
	})
	app.Get("/hello", func(c fiber.Ctx) error { return c.SendString("hello") })
	return app
}

// FastHTTP mounts srv on fasthttp, which has no router.
func FastHTTP(srv *core.Server) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/socket.io/":
			srv.ServeFastHTTP(ctx)
		case "/hello":
			ctx.SetBodyString("hello")
		default:
			ctx.NotFound()
		}
	}
}
