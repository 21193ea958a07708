package redistest

import (
	"fmt"
	"strings"
	"testing"
)

// StartCluster starts a Redis Cluster of three shards without replicas, and returns the
// addresses of all.
func StartCluster(tb testing.TB) []string {
	tb.Helper()
	const shards, slots = 3, 16384
	servers := make([]*Server, shards)
	addrs := make([]string, shards)
	for i := range servers {
		s := Start(tb, "--cluster-enabled", "yes")
		servers[i], addrs[i] = s, s.Addr
		for command, want := range map[string]string{
			fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*slots/shards, (i+1)*slots/shards-1): "+OK",
			"CLUSTER MEET 127.0.0.1 " + servers[0].port:                                      "+OK",
		} {
			if answer := s.ask(command); !strings.HasPrefix(answer, want) {
				tb.Fatalf("%s: %q", command, answer)
			}
		}
	}
	for _, s := range servers {
		until(tb, "the Redis Cluster is complete", func() bool {
			info := s.ask("CLUSTER INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", shards))
		})
	}
	return addrs
}
