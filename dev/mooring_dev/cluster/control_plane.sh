# Prepares the cluster's outer namespaces: a switch that the nodes and the host are plugged into.
set -eu

# This is a copy of the host's mounts. Loop mounts in it would keep other people's loop devices busy.
awk '$1 ~ "^/dev/loop" { print $2 }' /proc/self/mounts | sort -r | while read -r folder; do
  umount -l "$folder"
done

mount -t tmpfs -o mode=755 run /run
# Images are unpacked many times over and never kept: memory spares the disk, where there is enough of it.
mkdir -p "$IMAGES_FOLDER"
if [ "$IMAGES_IN_MEMORY" = 1 ]; then
  mount -t tmpfs -o mode=711,size=50% images "$IMAGES_FOLDER"
fi

hostname control
ip link set lo up
ip link add switch type bridge
ip address add "$API_ADDRESS/24" dev switch
ip link set switch up
for node in $NODES; do
  ip route add "10.244.$node.0/24" via "$NETWORK.$((10 + node))"
done
ip route add default via "$HOST_ADDRESS"
echo 1 > /proc/sys/net/ipv4/ip_forward
# The bridge below must switch frames only: no packet filter lies here.
for setting in /proc/sys/net/bridge/bridge-nf-call-*; do
  [ ! -e "$setting" ] || echo 0 > "$setting" || true
done
