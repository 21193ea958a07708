package relay

// Remembered is how many tags are remembered that nobody has.
func (r *Relay) Remembered() int {
	r.directory.mu.Lock()
	defer r.directory.mu.Unlock()
	return len(r.directory.unknown)
}

// Forget makes the relay forget the other servers.
func (r *Relay) Forget() {
	r.directory.mu.Lock()
	defer r.directory.mu.Unlock()
	clear(r.directory.owners)
}

// Hear is what another server's announcement does.
func (r *Relay) Hear(tag, url string) error {
	return r.directory.learn(announcement{Tag: tag, URL: url})
}

// MaxServers is the limit of the directory.
const MaxServers = maxServers
