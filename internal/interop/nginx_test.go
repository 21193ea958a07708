package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The story behind a real nginx: configured as for any web application, which
// refuses WebSocket, and configured for it.
func TestNginx(t *testing.T) {
	for _, config := range []struct {
		name      string
		location  string
		transport string // that the clients end on
	}{
		{"plain", "", "polling"},
		{"http 1.1", `proxy_http_version 1.1; proxy_set_header Connection "";`, "polling"},
		{"websocket", `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";`, "websocket"},
	} {
		for _, door := range doors {
			t.Run(config.name+"/"+door, func(t *testing.T) {
				t.Parallel()
				a := startApp(t, door, settings{})
				url := startNginx(t, a.addr, config.location)
				chat(t, a, url, 1, config.transport, func() {})
			})
		}
	}
}

// startNginx starts nginx in front of target, a host:port or several with commas
// between, in turns, with directives for the location and returns its URL. It ends
// with the test.
func startNginx(t *testing.T, target, location string) string {
	t.Helper()
	binary := need(t, "nginx", "/usr/sbin/nginx")
	dir := t.TempDir()
	listener := listen(t)
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()

	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "  %s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	config := fmt.Sprintf(`
daemon off;
worker_processes 1;
user root; # heard only from root, whose files these are
pid %s;
error_log stderr warn;
events {}
http {
  access_log off;
%s
  upstream servers {
    server %s;
  }
  server {
    listen %s;
    location / {
      proxy_pass http://servers;
      %s
    }
  }
}
`, filepath.Join(dir, "pid"), paths.String(), strings.ReplaceAll(target, ",", "; server "), addr, location)
	configFile := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(binary, "-p", dir, "-c", configFile, "-e", "stderr")
	// nginx takes over listening sockets that it finds here, as it does in an
	// upgrade of its binary. So the port cannot be lost to somebody else, and
	// it can be connected to already.
	cmd.ExtraFiles = []*os.File{file}
	cmd.Env = append(os.Environ(), "NGINX=3;")
	var log lockedBuffer
	cmd.Stderr = &log
	err = cmd.Start()
	_ = file.Close()
	_ = listener.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("nginx: %v\n%s", err, log.String())
		}
	})
	return "http://" + addr
}
