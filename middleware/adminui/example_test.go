package adminui_test

import (
	"fmt"
	"net/http"

	"golang.org/x/crypto/bcrypt"

	"github.com/upshift-go/upshift/core"
	"github.com/upshift-go/upshift/middleware/adminui"
)

func ExampleInstrument() {
	srv, err := core.New(core.Options{
		// For the UI that is hosted by the makers of Socket.IO.
		CORS: &core.CORS{Origins: []string{"https://admin.socket.io"}, Credentials: true},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Made once, and kept where the program's other secrets are.
	hash, err := bcrypt.GenerateFromPassword([]byte("a long password"), bcrypt.MinCost)
	if err != nil {
		fmt.Println(err)
		return
	}
	admin, err := adminui.Instrument(srv, adminui.Options{
		Username: "admin", PasswordHash: string(hash),
		Development: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer admin.Stop()
	http.Handle("/example/socket.io/", srv)

	for _, n := range srv.Namespaces() {
		fmt.Println(n.Name())
	}
	fmt.Println(admin.Stats().Pages, "pages")
	// Output:
	// /
	// /admin
	// 0 pages
}

func ExampleOptions_data() {
	user := core.NewKey[string]("user") // set by the program's own middleware
	o := adminui.Options{
		Data: func(s *core.Socket) map[string]any {
			name, _ := user.Get(s)
			return map[string]any{"user": name}
		},
	}
	_ = o
}
