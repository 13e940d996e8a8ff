package config

import (
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

// Place says where Temporal and the store are.
type Place struct {
	// Embedded: neither is configured, so this program runs its own.
	Embedded bool
	// Client connects to the cluster's Temporal; empty where Embedded.
	Client client.Options
	// Namespace is the cluster's, "default" where none is named.
	Namespace string
}

// Place decides between the embedded stack and a cluster. The Temporal address
// is read the way every Temporal program reads it: TEMPORAL_ADDRESS,
// TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_..., TEMPORAL_PROFILE and
// temporal.toml. Half a cluster is an error that says what is missing.
func (c Config) Place() (Place, error) {
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{})
	if err != nil {
		return Place{}, Problems{{
			Field: "Temporal connection", Reason: err.Error() + "; check TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE and the other TEMPORAL_ variables",
		}}
	}
	if err := c.complete(profile); err != nil {
		return Place{}, err
	}
	if profile.Address == "" {
		return Place{Embedded: true, Namespace: client.DefaultNamespace}, nil
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return Place{}, Problems{{
			Field: "Temporal connection", Value: profile.Address, Reason: err.Error() + "; check the TEMPORAL_TLS_ variables",
		}}
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	return Place{Client: options, Namespace: options.Namespace}, nil
}

func (c Config) complete(profile envconfig.ClientConfigProfile) error {
	var p Problems
	switch {
	case profile.Address != "" && c.Store.Endpoint == "":
		p.add("store.endpoint", "", "not set, but a Temporal address is ("+profile.Address+
			"): set DEFECTFORGE_STORE_ENDPOINT to the cluster's S3 store, or unset TEMPORAL_ADDRESS to run the embedded stack")
	case profile.Address == "" && c.Store.Endpoint != "":
		p.add("TEMPORAL_ADDRESS", "", "not set, but store.endpoint is ("+c.Store.Endpoint+
			"): set it to the cluster's Temporal server, host:port, or leave store.endpoint empty to run the embedded stack")
	case profile.Address == "" && (profile.APIKey != "" || os.Getenv("TEMPORAL_TLS") == "true"):
		p.add("TEMPORAL_ADDRESS", "", "not set, but an API key or TLS for it is: set it to the Temporal server, host:port")
	}
	return p.orNil()
}
