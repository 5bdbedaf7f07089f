# Sourced: runs podman and buildah on an image store of the build folder, so that nothing is
# left on the machine and no engine is needed.
STORE=${STORE:-$PWD/build/containers}
store() {
    tool=$1
    shift
    "$tool" --root "$STORE/root" --runroot "$STORE/run" --storage-driver vfs "$@"
}
