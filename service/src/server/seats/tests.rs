use futures_util::FutureExt as _;

use super::*;

/// What one was answered may be on its way for as long as its client likes.
#[tokio::test]
async fn who_does_not_leave_keeps_no_newcomer_waiting() {
    let seats = Seats::new(2);
    let stays = seats.take().await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let leaves = seats.take().await;
    let leaving = async move {
        leaves.seat().given_up().await;
        drop(leaves);
    };
    let both = async { tokio::join!(seats.take(), leaving) };
    tokio::time::timeout(PATIENCE * 20, both).await.expect("the other one makes room");
    assert!(stays.seat().is_given_up());
}

#[tokio::test]
async fn who_was_idle_the_longest_makes_room_and_nobody_with_a_request() {
    let seats = Seats::new(3);
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(seats.take().await);
        // Their times differ.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let request = taken[0].busy();
    let mut newcomer = Box::pin(seats.take());
    assert!((&mut newcomer).now_or_never().is_none(), "there is no room yet");
    let told = |it: &Taken| it.seat().given_up().now_or_never().is_some();
    assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), [false, true, false]);
    // Another one that becomes idle is not told while the first is about to go.
    drop(request);
    assert!((&mut newcomer).now_or_never().is_none());
    assert_eq!(taken.iter().map(told).collect::<Vec<_>>(), [false, true, false]);
    taken.remove(1);
    let seated = newcomer.await;

    // Where everybody has a request, the first that has none any more makes room.
    let requests: Vec<_> = taken.iter().map(Taken::busy).collect();
    let busy = seated.busy();
    let mut newcomer = Box::pin(seats.take());
    assert!((&mut newcomer).now_or_never().is_none());
    assert!(!taken.iter().any(told));
    drop(requests);
    assert!((&mut newcomer).now_or_never().is_none());
    assert_eq!(taken.iter().filter(|it| told(it)).count(), 1);
    drop((taken, busy));
    newcomer.await;
}

/// Lets time go by for a client that is waited for.
fn keep_silent(seat: &Seat, silence: Duration) {
    seat.silent_since.fetch_sub(micros(silence), Ordering::Relaxed);
}

#[tokio::test]
async fn who_lets_its_request_wait_makes_room() {
    let mut seats = Seats::new(1);
    Arc::get_mut(&mut seats).unwrap().begin -= Duration::from_hours(1);
    let taken = seats.take().await;
    let seat = taken.seat();
    let busy = taken.busy();
    let mut pace = busy.pace();
    assert!(!seat.may_go(), "it is not the client that is waited for");
    pace.wait();
    assert!(!seat.may_go(), "a little silence is the network's");
    keep_silent(seat, PATIENCE / 4);
    pace.go_on(1);
    assert_eq!(seat.silence(), Duration::ZERO);
    assert!(pace.waited >= micros(PATIENCE / 4), "a byte now and then is next to nothing");
    pace.wait();
    assert!(seat.silence() >= PATIENCE / 4);
    keep_silent(seat, PATIENCE);
    assert!(seat.may_go());
    pace.go_on(PROGRESS);
    assert_eq!((pace.waited, seat.may_go()), (0, false), "who sends enough has its time again");
    // What takes long here is not the client's doing.
    assert_eq!(seat.silence(), Duration::ZERO);

    let mut newcomer = Box::pin(seats.take());
    assert!((&mut newcomer).now_or_never().is_none());
    assert!(!seat.is_given_up());
    pace.wait();
    keep_silent(seat, PATIENCE);
    let outstayed = seat.outstayed();
    let told = async {
        tokio::select! { _ = &mut newcomer => panic!("there is no room"), () = outstayed => {} }
    };
    tokio::time::timeout(PATIENCE * 20, told).await.expect("it is told in its turn");
    // What is left of the request is over with it, whoever still reads it.
    drop(busy);
    pace.wait();
    pace.go_on(1);
    assert!(seat.may_go());
    drop(taken);
    newcomer.await;
}
