// stargz - the lazy filesystem of stargz-snapshotter, as a peer of tests/bench/pull.sh, which builds
// it of Debian's golang-github-containerd-stargz-snapshotter-dev (Debian has no daemon of it).
//
//	stargz convert TAR OUT [LIST]      TAR becomes an eStargz layer; LIST names files to prefetch;
//	                                   prints the digests of the tar stream and of its index
//	stargz mount HOST/NAME:TAG DIR     waits for a line; then mounts each layer at DIR/0, DIR/1, ...,
//	                                   prints "mounted", and serves until its input ends
//
// mount does what the snapshotter does for a pull: manifest, config, then layer by layer, the
// others being resolved meanwhile. Its background fetching is off; chunk sizes are its defaults.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/reference"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
	rhttp "github.com/hashicorp/go-retryablehttp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func convert(args []string) {
	in, err := os.Open(args[0])
	must(err)
	st, err := in.Stat()
	must(err)
	opts := []estargz.Option{estargz.WithCompressionLevel(6)} // gzip's own default
	if len(args) > 2 {
		list, err := os.ReadFile(args[2])
		must(err)
		var missed []string
		opts = append(opts, estargz.WithPrioritizedFiles(strings.Fields(string(list))),
			estargz.WithAllowPrioritizeNotFound(&missed))
	}
	blob, err := estargz.Build(io.NewSectionReader(in, 0, st.Size()), opts...)
	must(err)
	out, err := os.Create(args[1])
	must(err)
	_, err = io.Copy(out, blob)
	must(err)
	must(blob.Close())
	must(out.Close())
	fmt.Println(blob.DiffID(), blob.TOCDigest())
}

func get(url string) []byte {
	req, err := http.NewRequest("GET", url, nil)
	must(err)
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest)
	res, err := http.DefaultClient.Do(req)
	must(err)
	defer res.Body.Close()
	if res.StatusCode != 200 {
		log.Fatal(url, ": ", res.Status)
	}
	doc, err := io.ReadAll(res.Body)
	must(err)
	return doc
}

// hosts is what its service/resolver makes of a host on loopback.
func hosts(ref reference.Spec) ([]docker.RegistryHost, error) {
	client := rhttp.NewClient()
	client.Logger = nil
	std := client.StandardClient()
	return []docker.RegistryHost{{Client: std, Host: ref.Hostname(), Scheme: "http", Path: "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		Authorizer:   docker.NewDockerAuthorizer(docker.WithAuthClient(std))}}, nil
}

func mount(ref, dir string) {
	cfg := config.Config{NoPrometheus: true, NoBackgroundFetch: true}
	lazy, err := fs.NewFilesystem(filepath.Join(dir, "root"), cfg, fs.WithGetSources(
		source.FromDefaultLabels(hosts)))
	must(err)
	spec, err := reference.Parse(ref)
	must(err)
	base := "http://" + spec.Hostname() + "/v2/" + strings.TrimPrefix(spec.Locator, spec.Hostname()+"/")
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	_, err = in.ReadString('\n')
	must(err)

	var m ocispec.Manifest
	must(json.Unmarshal(get(base+"/manifests/"+spec.Object), &m))
	get(base + "/blobs/" + m.Config.Digest.String())
	var digests []string
	for _, l := range m.Layers {
		digests = append(digests, l.Digest.String())
	}
	for i, l := range m.Layers {
		at := filepath.Join(dir, fmt.Sprint(i))
		must(os.MkdirAll(at, 0o755))
		must(lazy.Mount(context.Background(), at, map[string]string{
			"containerd.io/snapshot/remote/stargz.reference": ref,
			"containerd.io/snapshot/remote/stargz.digest":    digests[i],
			"containerd.io/snapshot/remote/stargz.layers":    strings.Join(digests[i:], ","),
			estargz.TOCJSONDigestAnnotation:                  l.Annotations[estargz.TOCJSONDigestAnnotation],
		}))
	}
	fmt.Println("mounted")
	_, _ = io.Copy(io.Discard, in)
	for i := range m.Layers {
		_ = syscall.Unmount(filepath.Join(dir, fmt.Sprint(i)), syscall.MNT_DETACH)
	}
}

func main() {
	switch {
	case len(os.Args) > 3 && os.Args[1] == "convert":
		convert(os.Args[2:])
	case len(os.Args) == 4 && os.Args[1] == "mount":
		mount(os.Args[2], os.Args[3])
	default:
		log.Fatal("usage: see the source")
	}
}
