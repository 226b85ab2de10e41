# Makes a node of fresh namespaces: a root folder of its own over the host's programs, then its network.
set -eu

root="$NODE_FOLDER/root"
mkdir -p "$IMAGES_FOLDER/$NODE_NAME" "$root" "$NODE_FOLDER/etc" "$NODE_FOLDER/etc-work" "$NODE_FOLDER/var" "$NODE_FOLDER/tmp"
mount -t tmpfs -o mode=755,size=64m root "$root"
cd "$root"

for name in bin sbin lib lib32 lib64 libx32 usr; do
  if [ -L "/$name" ]; then
    cp -a "/$name" "$name"
  elif [ -d "/$name" ]; then
    mkdir "$name"
    mount --bind "/$name" "$name"
  fi
done
mkdir -p dev etc home opt/cni/bin opt/mooring-dev proc root run srv/mooring-backups sys tmp var
mount --rbind /dev dev
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t overlay -o "lowerdir=/etc,upperdir=$NODE_FOLDER/etc,workdir=$NODE_FOLDER/etc-work" etc etc
mount -t tmpfs -o mode=755 run run
mount --bind "$NODE_FOLDER/var" var
mount --bind "$NODE_FOLDER/tmp" tmp
chmod 1777 tmp
mount --bind "$BACKUPS_FOLDER" srv/mooring-backups
mount --bind /usr/lib/cni opt/cni/bin
mount --bind "$PROGRAMS_FOLDER" opt/mooring-dev

if [ "$CGROUP_VERSION" = 2 ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mkdir -p sys/fs/cgroup/init
  echo 0 > sys/fs/cgroup/init/cgroup.procs
else
  mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
  for options in $CGROUP_HIERARCHIES; do
    name="${options#name=}"
    mkdir "sys/fs/cgroup/$name"
    mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$name"
    for part in $(echo "$name" | tr , ' '); do
      [ -e "sys/fs/cgroup/$part" ] || ln -s "$name" "sys/fs/cgroup/$part"
    done
  done
fi

# Each start is a boot of its own.
cat /proc/sys/kernel/random/uuid > run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id

mkdir -p var/lib/kubelet var/lib/containerd var/lib/cni var/lib/mooring var/log/pods var/log/containers var/tmp
mount --bind "$IMAGES_FOLDER/$NODE_NAME" var/lib/containerd
ln -sfn /run var/run
ln -sfn /run/lock var/lock
mkdir -p run/lock run/containerd

mkdir .host
pivot_root . .host
cd /
umount -l .host
rmdir .host
mount --make-rshared /

hostname "$NODE_NAME"
ip link set lo up
tries=0
until ip link show eth0 > /dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 200 ] || { echo "no network link came within 10 s" >&2; exit 1; }
  sleep 0.05
done
ip address add "$NODE_ADDRESS/24" dev eth0
ip link set eth0 up
ip route add default via "$API_ADDRESS"
for node in $OTHER_NODES; do
  ip route add "10.244.$node.0/24" via "$NETWORK.$((10 + node))"
done
echo 1 > /proc/sys/net/ipv4/ip_forward
